"""Images and scores that cross the border: layouts that official scorers read, and what comes back from them."""
