"""Reading and writing files: atomically, under locks, and with distrust of what strangers wrote."""
