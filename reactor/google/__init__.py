"""Google: requests over HTTP, batches, access tokens, credentials, consents."""
