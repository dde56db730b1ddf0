// speech/vad.py's plain_scores: the frames of some audio given to webrtcvad, and a Score made of each answer.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstring>

namespace {

constexpr long INTERFACE = 1;  // speech/vad.py asks for this one: a library from another time is not to be used.
constexpr long RATE = 16000, FRAME = 320;
constexpr Py_ssize_t FRAME_BYTES = 2 * FRAME;

PyObject *rate, *frame_samples, *voiced, *unvoiced;

// 1 or 0 as `process(detector, rate, frame, samples)` says, -1 with an error set.
int judge(PyObject* process, PyObject* detector, PyObject* frame) {
    PyObject* arguments[] = {detector, rate, frame, frame_samples};
    PyObject* answer = PyObject_Vectorcall(process, arguments, 4, nullptr);
    if (answer == nullptr) {
        return -1;
    }
    const int truth = PyObject_IsTrue(answer);
    Py_DECREF(answer);
    return truth;
}

PyObject* make_score(PyTypeObject* type, Py_ssize_t start, PyObject* probability) {
    PyObject* first = PyLong_FromSsize_t(start);
    PyObject* last = PyLong_FromSsize_t(start + FRAME);
    PyObject* score = first != nullptr && last != nullptr ? type->tp_alloc(type, 3) : nullptr;
    if (score == nullptr) {
        Py_XDECREF(first);
        Py_XDECREF(last);
        return nullptr;
    }
    PyTuple_SET_ITEM(score, 0, first);
    PyTuple_SET_ITEM(score, 1, last);
    PyTuple_SET_ITEM(score, 2, Py_NewRef(probability));
    return score;
}

bool append_scores(PyObject* scores, PyObject* const* arguments, const Py_buffer& audio, Py_ssize_t start) {
    const char* data = static_cast<const char*>(audio.buf);
    PyObject* frame = nullptr;
    bool fine = true;
    for (Py_ssize_t begin = 0; fine && begin + FRAME_BYTES <= audio.len; begin += FRAME_BYTES, start += FRAME) {
        // One object serves for all frames, as long as nobody has kept it.
        if (frame == nullptr || Py_REFCNT(frame) != 1) {
            Py_XDECREF(frame);
            frame = PyBytes_FromStringAndSize(nullptr, FRAME_BYTES);
            if (frame == nullptr) {
                return false;
            }
        }
        std::memcpy(PyBytes_AS_STRING(frame), data + begin, FRAME_BYTES);
        const int truth = judge(arguments[1], arguments[2], frame);
        PyObject* score = truth < 0 ? nullptr : make_score(reinterpret_cast<PyTypeObject*>(arguments[0]), start,
                                                           truth ? voiced : unvoiced);
        fine = score != nullptr && PyList_Append(scores, score) == 0;
        Py_XDECREF(score);
    }
    Py_XDECREF(frame);
    return fine;
}

PyObject* scores(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
    if (count != 5 || !PyType_Check(arguments[0])
        || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(arguments[0]), &PyTuple_Type)) {
        PyErr_SetString(PyExc_TypeError, "scores takes a kind of tuple, a function, its detector, audio and a position");
        return nullptr;
    }
    const Py_ssize_t start = PyLong_AsSsize_t(arguments[4]);
    if (start == -1 && PyErr_Occurred()) {
        return nullptr;
    }
    Py_buffer audio;
    if (PyObject_GetBuffer(arguments[3], &audio, PyBUF_SIMPLE) != 0) {
        return nullptr;
    }
    PyObject* made = PyList_New(0);
    if (made != nullptr && !append_scores(made, arguments, audio, start)) {
        Py_CLEAR(made);
    }
    PyBuffer_Release(&audio);
    return made;
}

PyMethodDef methods[] = {
    {"scores", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)(void)>(scores)), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_scores", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__scores() {
    rate = PyLong_FromLong(RATE);
    frame_samples = PyLong_FromLong(FRAME);
    voiced = PyFloat_FromDouble(1.0);
    unvoiced = PyFloat_FromDouble(0.0);
    if (rate == nullptr || frame_samples == nullptr || voiced == nullptr || unvoiced == nullptr) {
        return nullptr;
    }
    PyObject* made = PyModule_Create(&module);
    if (made != nullptr && PyModule_AddIntConstant(made, "INTERFACE", INTERFACE) != 0) {
        Py_CLEAR(made);
    }
    return made;
}
