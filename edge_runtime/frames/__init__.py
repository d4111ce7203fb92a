"""How live frames pass between processes: shared memory for the newest pictures, messages for what is said of them."""
