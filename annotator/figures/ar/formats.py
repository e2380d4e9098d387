# Pages write Western digits, and with these Arabic readers expect the point; Django's comma is for ٠١٢٣.
DECIMAL_SEPARATOR = "."
THOUSAND_SEPARATOR = ","
