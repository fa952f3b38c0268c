"""What all figures share: what they are made from, their looks, their panels, and files of them."""
