"""What families share. No op is named here and no rule registered; families know this and never one another."""
