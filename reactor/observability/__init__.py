"""What the process tells of itself: log, metrics, spans, the health endpoint, and watches."""
