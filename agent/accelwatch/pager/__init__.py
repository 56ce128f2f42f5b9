"""The fast path: pages that the agent posts to Alertmanager itself, without waiting for a scrape."""
