/* The part of the Java Native Interface that armlet_jni.c uses, so that it is compiled without a
 * JDK or the NDK: a JNIEnv points to a table of functions, whose places the specification fixes
 * (Java Native Interface Specification, chapter 4). */
#ifndef ARMLET_JNI_TABLE_H
#define ARMLET_JNI_TABLE_H

#include <stdint.h>

typedef void *const *JNIEnv;
typedef struct jni_object *jobject;
typedef jobject jclass, jthrowable, jarray, jbyteArray, jintArray, jlongArray;
typedef struct jni_method *jmethodID;
typedef int8_t jbyte;
typedef uint8_t jboolean;
typedef int32_t jint, jsize;
typedef int64_t jlong;

#define JNIEXPORT __attribute__((visibility("default")))

#define JNI_FUNCTION(place, result, name, parameters, arguments) \
    enum { JNI_##name = place }; \
    static inline result name parameters { \
        return ((result(*) parameters)(*env)[place]) arguments; \
    }

JNI_FUNCTION(6, jclass, FindClass, (JNIEnv *env, const char *name), (env, name))
JNI_FUNCTION(13, jint, Throw, (JNIEnv *env, jthrowable thrown), (env, thrown))
JNI_FUNCTION(33, jmethodID, GetMethodID,
             (JNIEnv *env, jclass type, const char *name, const char *signature),
             (env, type, name, signature))
JNI_FUNCTION(171, jsize, GetArrayLength, (JNIEnv *env, jarray array), (env, array))
JNI_FUNCTION(176, jbyteArray, NewByteArray, (JNIEnv *env, jsize length), (env, length))
JNI_FUNCTION(180, jlongArray, NewLongArray, (JNIEnv *env, jsize length), (env, length))
JNI_FUNCTION(200, void, GetByteArrayRegion,
             (JNIEnv *env, jbyteArray array, jsize start, jsize length, jbyte *bytes),
             (env, array, start, length, bytes))
JNI_FUNCTION(203, void, GetIntArrayRegion,
             (JNIEnv *env, jintArray array, jsize start, jsize length, jint *ints),
             (env, array, start, length, ints))
JNI_FUNCTION(208, void, SetByteArrayRegion,
             (JNIEnv *env, jbyteArray array, jsize start, jsize length, const jbyte *bytes),
             (env, array, start, length, bytes))
JNI_FUNCTION(212, void, SetLongArrayRegion,
             (JNIEnv *env, jlongArray array, jsize start, jsize length, const jlong *longs),
             (env, array, start, length, longs))
JNI_FUNCTION(230, void *, GetDirectBufferAddress, (JNIEnv *env, jobject buffer), (env, buffer))

/* The arguments of the constructor follow. */
enum { JNI_NewObject = 28 };
#define NewObject(env, ...) \
    (((jobject(*)(JNIEnv *, jclass, jmethodID, ...))(*(env))[JNI_NewObject])(env, __VA_ARGS__))

#endif
