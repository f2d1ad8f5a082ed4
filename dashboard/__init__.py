"""A page that shows runs while they run and afterwards. It reads as an observer, never as the server."""
