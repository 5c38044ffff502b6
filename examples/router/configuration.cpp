#include "configuration.hpp"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace {

[[noreturn]] void refuse(const char* path, int line, const char* why) {
  fprintf(stderr, "router: %s:%d: %s\n", path, line, why);
  exit(1);
}

bool take_address(const char* text, uint32_t& address) {
  in_addr parsed = {};
  if (inet_pton(AF_INET, text, &parsed) != 1) return false;
  address = ntohl(parsed.s_addr);
  return true;
}

/// ADDRESS/LENGTH
bool take_prefix(char* text, uint32_t& address, uint32_t& mask) {
  char* slash = strchr(text, '/');
  if (slash == nullptr) return false;
  *slash = '\0';
  int length = atoi(slash + 1);
  if (length < 0 || length > 32 || !take_address(text, address)) return false;
  mask = length == 0 ? 0 : ~uint32_t{0} << (32 - length);
  return true;
}

bool take_port(const char* text, uint16_t& port) {
  int value = atoi(text);
  port = static_cast<uint16_t>(value);
  return value > 0 && value <= UINT16_MAX;
}

bool take_protocol(const char* text, uint8_t& protocol) {
  const struct {
    const char* name;
    uint8_t number;
  } known[] = {{"any", 0}, {"icmp", 1}, {"tcp", 6}, {"udp", 17}};
  for (const auto& one : known) {
    if (strcmp(text, one.name) != 0) continue;
    protocol = one.number;
    return true;
  }
  return false;
}

/// inside|outside NAME ADDRESS/LENGTH [via ADDRESS]
const char* take_link(char** words, int count, LinkConfiguration& link) {
  if (count != 3 && count != 5) return "wanted: NAME ADDRESS/LENGTH [via ADDRESS]";
  if (strlen(words[1]) >= sizeof link.name) return "the interface's name is too long";
  strcpy(link.name, words[1]);
  if (!take_prefix(words[2], link.address, link.mask)) return "not an address and its length";
  if (count == 5 && (strcmp(words[3], "via") != 0 || !take_address(words[4], link.gateway)))
    return "not a gateway";
  return nullptr;
}

/// forward PROTOCOL PORT to ADDRESS:PORT
const char* take_forward(char** words, int count, Configuration& nat) {
  char* colon = count == 5 ? strchr(words[4], ':') : nullptr;
  if (colon == nullptr) return "wanted: forward PROTOCOL PORT to ADDRESS:PORT";
  *colon = '\0';
  if (nat.forward_count == Configuration::kMaxForwards) return "too many forwarded ports";
  Forward& forward = nat.forwards[nat.forward_count++];
  if (!take_protocol(words[1], forward.protocol) || forward.protocol < 6)
    return "only tcp and udp have ports";
  if (!take_port(words[2], forward.outside_port) || !take_port(colon + 1, forward.inside.port) ||
      !take_address(words[4], forward.inside.address))
    return "not a port or an address";
  return nullptr;
}

/// allow|deny in|out PROTOCOL [ADDRESS/LENGTH|any [PORT]]
const char* take_rule(char** words, int count, Configuration& nat) {
  if (count < 3 || count > 5) return "wanted: in|out PROTOCOL [ADDRESS/LENGTH|any [PORT]]";
  if (nat.rule_count == Configuration::kMaxRules) return "too many rules";
  Rule& rule = nat.rules[nat.rule_count++];
  rule.allow = strcmp(words[0], "allow") == 0;
  bool is_in = strcmp(words[1], "in") == 0;
  if (!is_in && strcmp(words[1], "out") != 0) return "neither in nor out";
  rule.direction = is_in ? Direction::kIn : Direction::kOut;
  if (!take_protocol(words[2], rule.protocol)) return "not a protocol";
  if (count > 3 && strcmp(words[3], "any") != 0) {
    if (!take_prefix(words[3], rule.network, rule.mask)) return "not a network";
    rule.network &= rule.mask;
  }
  if (count > 4 && !take_port(words[4], rule.port)) return "not a port";
  return nullptr;
}

}  // namespace

void read_configuration(const char* path, RouterConfiguration& configuration) {
  FILE* file = fopen(path, "r");
  if (file == nullptr) refuse(path, 0, "cannot be read");
  char text[256];
  for (int line = 1; fgets(text, sizeof text, file) != nullptr; ++line) {
    text[strcspn(text, "#\r\n")] = '\0';
    char* words[8];
    int count = 0;
    char* rest = nullptr;
    for (char* word = strtok_r(text, " \t", &rest); word != nullptr && count < 8;
         word = strtok_r(nullptr, " \t", &rest))
      words[count++] = word;
    if (count == 0) continue;
    const char* wrong = "not a setting";
    if (strcmp(words[0], "inside") == 0) {
      wrong = take_link(words, count, configuration.inside);
    } else if (strcmp(words[0], "outside") == 0) {
      wrong = take_link(words, count, configuration.outside);
    } else if (strcmp(words[0], "forward") == 0) {
      wrong = take_forward(words, count, configuration.nat);
    } else if (strcmp(words[0], "allow") == 0 || strcmp(words[0], "deny") == 0) {
      wrong = take_rule(words, count, configuration.nat);
    }
    if (wrong != nullptr) refuse(path, line, wrong);
  }
  fclose(file);
  if (configuration.inside.name[0] == '\0' || configuration.outside.name[0] == '\0')
    refuse(path, 0, "names no inside or no outside interface");
}
