"""Networks that solve differential equations, learn maps between functions, or speed up a numerical solver."""
