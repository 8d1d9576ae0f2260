"""Commands, called as an operator calls them."""
