"""One testable claim from each survey, review or essay about machine learning."""
