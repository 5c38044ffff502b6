#pragma once
#include "nat.hpp"

struct LinkConfiguration {
  char name[16];
  uint32_t address, mask, gateway;  ///< host order; gateway 0: none
};

struct RouterConfiguration {
  LinkConfiguration inside, outside;
  Configuration nat;
};

/// Reads a file of lines like those of example.conf; says what is wrong and ends the program.
void read_configuration(const char* path, RouterConfiguration& configuration);
