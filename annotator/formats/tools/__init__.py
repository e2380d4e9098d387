"""Exports of annotation tools, one reader each. `sides` finds the responses in a tool's row, `said` what was said."""
