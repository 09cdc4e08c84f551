"""Pictures against pictures: where one field lies against another, and how surely.

``look`` makes of a field what registration sees, ``search`` proposes shifts by
correlation, ``agree`` refines one and decides whether the pictures bear it out.
"""
