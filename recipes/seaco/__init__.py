"""How the demonstration model of the second pass is made: an offline Paraformer that knows hotwords."""
