"""What other annotation tools export, read into ours: one file a tool."""
