"""Dead letters and items: what they died of, what would be sent, and how they are put back."""
