"""What removes actions before anything is chosen; nothing here can add one."""
