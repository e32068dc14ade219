"""One claim that can be tested from each survey, review or essay about machine learning."""
