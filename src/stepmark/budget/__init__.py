"""What compute costs, and how it is best spent on a problem."""
