"""The servers that Nacre is compared with, and Nacre without its log."""
