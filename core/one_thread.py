"""Keep linear algebra to one thread, unless the environment says otherwise; imported by commands, before NumPy.

NumPy reads the variables when it is first imported, so importing this module is what sets them.
"""

import os

from core.threads import ONE_THREAD

for name, value in ONE_THREAD.items():
    os.environ.setdefault(name, value)
