// In place of libgcc's functions of these names (CMakeLists.txt: --wrap), which the start-up code
// of static programs calls with the unwind tables: libgcc then sorts all of them at the first
// exception, which takes a millisecond. Without, it finds them by the sorted table that the linker
// has made, as it does in programs of every other kind.
extern "C" {
void __wrap___register_frame_info(const void* /*begin*/, void* /*object*/);
void* __wrap___deregister_frame_info(const void* /*begin*/);

void __wrap___register_frame_info(const void* /*begin*/, void* /*object*/) {}
void* __wrap___deregister_frame_info(const void* /*begin*/) { return nullptr; }
}
