"""HTTP: the server, the application, batches and the controls."""
