"""The only part that listens: HTTP for scrapes and people, a Unix socket for the commands."""
