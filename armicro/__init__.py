"""A streaming augmented-reality microscope assistant for cervical cytology.

Research use only: not a diagnostic device.
"""

__version__ = "0.1.0"
