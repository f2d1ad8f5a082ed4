"""What a run leaves behind: its public record, and how to check it."""
