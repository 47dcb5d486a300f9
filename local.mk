LEVELS = c v3
CC = ccache gcc
