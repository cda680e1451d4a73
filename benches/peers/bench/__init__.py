"""`make bench-peers`: the same work on Tidemill and on other queues, side by side. benches/README.md explains it."""
