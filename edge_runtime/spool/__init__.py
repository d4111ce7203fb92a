"""The durable truth between the roles: files, and a journal of states that can be rebuilt from them."""
