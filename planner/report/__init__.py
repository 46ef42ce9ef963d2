"""A result for people: in the terminal and as a web page. Import the module you need."""
