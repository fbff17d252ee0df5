"""Networks: bodies with their weights, the heads on them, and what they answer."""
