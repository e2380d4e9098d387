"""What scoring costs on a GPU: shapes of real models, operations counted, the card's own rate beside them."""
