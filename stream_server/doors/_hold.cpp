// doors/hold.py's PlainHold in one call a message: the frame is read, unmasked and put behind what waits.

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <cstdint>
#include <cstring>

namespace {

constexpr long INTERFACE = 1;  // doors/hold.py asks for this one: a library from another time is not to be used.
constexpr Py_ssize_t LEAST_CAPACITY = 1 << 14;

struct Hold {
    PyObject_HEAD
    Py_ssize_t room;
    Py_ssize_t size;
    double at;
    char fresh;
    uint8_t* bytes;
    Py_ssize_t capacity;
};

bool make_room(Hold* self, Py_ssize_t more) {
    const Py_ssize_t wanted = self->size + more;
    if (wanted <= self->capacity) {
        return true;
    }
    Py_ssize_t capacity = self->capacity ? self->capacity : LEAST_CAPACITY;
    while (capacity < wanted) {
        capacity *= 2;
    }
    void* bytes = PyMem_Realloc(self->bytes, static_cast<size_t>(capacity));
    if (bytes == nullptr) {
        PyErr_NoMemory();
        return false;
    }
    self->bytes = static_cast<uint8_t*>(bytes);
    self->capacity = capacity;
    return true;
}

bool fits(const Hold* self, Py_ssize_t size) { return size > 0 && size <= self->room; }

void note(Hold* self, Py_ssize_t size) {
    self->room -= size;
    self->size += size;
    self->fresh = 1;
}

PyObject* take(PyObject* object, PyObject* audio) {
    Hold* self = reinterpret_cast<Hold*>(object);
    Py_buffer view;
    if (PyObject_GetBuffer(audio, &view, PyBUF_SIMPLE) != 0) {
        return nullptr;
    }
    const bool taken = fits(self, view.len);
    if (taken && !make_room(self, view.len)) {
        PyBuffer_Release(&view);
        return nullptr;
    }
    if (taken) {
        std::memcpy(self->bytes + self->size, view.buf, static_cast<size_t>(view.len));
        note(self, view.len);
    }
    PyBuffer_Release(&view);
    return PyBool_FromLong(taken);
}

// RFC 6455, 5.2: one whole frame of one binary message, masked, with a length of 7 or 16 bits.
Py_ssize_t payload_begins(const uint8_t* frame, Py_ssize_t size) {
    if (size < 6 || frame[0] != 0x82 || frame[1] < 0x80 || frame[1] == 0x80 + 127) {
        return -1;
    }
    const Py_ssize_t begin = frame[1] == 0x80 + 126 ? 8 : 6;
    const Py_ssize_t length = begin == 8 ? frame[2] << 8 | frame[3] : frame[1] - 0x80;
    return size == begin + length ? begin : -1;
}

void unmask(uint8_t* to, const uint8_t* from, Py_ssize_t size, const uint8_t* mask) {
    uint64_t eight;
    std::memcpy(&eight, mask, 4);
    std::memcpy(reinterpret_cast<uint8_t*>(&eight) + 4, mask, 4);
    Py_ssize_t done = 0;
    for (; done + 8 <= size; done += 8) {
        uint64_t word;
        std::memcpy(&word, from + done, 8);
        word ^= eight;
        std::memcpy(to + done, &word, 8);
    }
    for (; done < size; ++done) {
        to[done] = from[done] ^ mask[done & 3];
    }
}

PyObject* take_frame(PyObject* object, PyObject* data) {
    Hold* self = reinterpret_cast<Hold*>(object);
    if (!PyBytes_Check(data)) {
        PyErr_SetString(PyExc_TypeError, "a frame is bytes");
        return nullptr;
    }
    const uint8_t* frame = reinterpret_cast<const uint8_t*>(PyBytes_AS_STRING(data));
    const Py_ssize_t size = PyBytes_GET_SIZE(data);
    const Py_ssize_t begin = payload_begins(frame, size);
    if (begin < 0 || !fits(self, size - begin)) {
        Py_RETURN_FALSE;
    }
    if (!make_room(self, size - begin)) {
        return nullptr;
    }
    unmask(self->bytes + self->size, frame + begin, size - begin, frame + begin - 4);
    note(self, size - begin);
    Py_RETURN_TRUE;
}

PyObject* drain(PyObject* object, PyObject* const* arguments, Py_ssize_t count) {
    Hold* self = reinterpret_cast<Hold*>(object);
    if (count > 1) {
        PyErr_SetString(PyExc_TypeError, "drain takes one argument at most");
        return nullptr;
    }
    Py_buffer more{};
    if (count == 1 && PyObject_GetBuffer(arguments[0], &more, PyBUF_SIMPLE) != 0) {
        return nullptr;
    }
    PyObject* whole = PyBytes_FromStringAndSize(nullptr, self->size + more.len);
    if (whole != nullptr) {
        uint8_t* to = reinterpret_cast<uint8_t*>(PyBytes_AS_STRING(whole));
        if (self->size) {
            std::memcpy(to, self->bytes, static_cast<size_t>(self->size));
        }
        if (more.len) {
            std::memcpy(to + self->size, more.buf, static_cast<size_t>(more.len));
        }
        self->size = 0;
    }
    if (count == 1) {
        PyBuffer_Release(&more);
    }
    return whole;
}

int init(PyObject* object, PyObject*, PyObject*) {
    reinterpret_cast<Hold*>(object)->fresh = 1;
    return 0;
}

void dealloc(PyObject* object) {
    PyTypeObject* type = Py_TYPE(object);
    PyMem_Free(reinterpret_cast<Hold*>(object)->bytes);
    type->tp_free(object);
    Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"take", take, METH_O, nullptr},
    {"take_frame", take_frame, METH_O, nullptr},
    {"drain", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)(void)>(drain)), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"room", T_PYSSIZET, offsetof(Hold, room), 0, nullptr},
    {"size", T_PYSSIZET, offsetof(Hold, size), READONLY, nullptr},
    {"at", T_DOUBLE, offsetof(Hold, at), 0, nullptr},
    {"fresh", T_BOOL, offsetof(Hold, fresh), 0, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_init, reinterpret_cast<void*>(init)},
    {Py_tp_new, reinterpret_cast<void*>(PyType_GenericNew)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {0, nullptr},
};

PyType_Spec spec = {"stream_server.doors._hold.Hold", sizeof(Hold), 0, Py_TPFLAGS_DEFAULT, slots};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_hold", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__hold() {
    PyObject* made = PyModule_Create(&module);
    if (made == nullptr) {
        return nullptr;
    }
    PyObject* type = PyType_FromSpec(&spec);
    if (type == nullptr || PyModule_AddObject(made, "Hold", type) != 0) {
        Py_XDECREF(type);
        Py_DECREF(made);
        return nullptr;
    }
    if (PyModule_AddIntConstant(made, "INTERFACE", INTERFACE) != 0) {
        Py_DECREF(made);
        return nullptr;
    }
    return made;
}
