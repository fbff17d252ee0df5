"""What carries a result beyond its makers: exports, cards, and the Hub."""
