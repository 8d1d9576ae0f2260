"""The commands about workspaces' consents and the tokens that are stored of them."""
