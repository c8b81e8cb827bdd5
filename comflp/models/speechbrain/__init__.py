"""Models of the SpeechBrain library."""
