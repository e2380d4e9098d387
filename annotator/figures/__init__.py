"""How figures are written, by language (settings.FORMAT_MODULE_PATH); what is not said here is Django's."""
