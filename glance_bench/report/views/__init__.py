"""The views of a report, a module each: its title in the navigation, and what its template is given."""
