//! A whole deployment in one process: DNS, CA, Director, pools, Edge, web services, users.
