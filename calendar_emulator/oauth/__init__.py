"""Who may call: consents, tokens, service accounts."""
