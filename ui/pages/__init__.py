"""The pages of the Personalization tab, one module each."""
