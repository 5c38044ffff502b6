int sum(int n);
int product(int n);
void text(const char* name, int value);
