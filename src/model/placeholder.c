/* being written */
typedef int caps_model_placeholder;
