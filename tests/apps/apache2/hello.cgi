#!/bin/sh
echo "Content-Type: text/plain"
echo
echo "query $(echo "$QUERY_STRING" | tr a-z A-Z)"
