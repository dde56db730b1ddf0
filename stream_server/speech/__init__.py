"""Speech: voice activity, endpoints, text. Pure: samples and pieces in, decisions and text out."""
