import os

# Before the first Qt application: the tests need no screen.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
