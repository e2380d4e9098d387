"""Published data sets in their own layout: written so that their readers take ours for theirs, and read back."""
