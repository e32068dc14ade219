"""What people see: console tables and figures."""
